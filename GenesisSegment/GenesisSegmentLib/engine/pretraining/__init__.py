"""Models Genesis: a network learns anatomy from CTs without labels, by restoring crops that were distorted.

Literature: Zhou et al., "Models Genesis", Medical Image Analysis 2021. The crop rule, the distortions, the loss and the
schedule are those that were published. All randomness is a function of the seed and of what is drawn (the CT, the
epoch, the crop), never of what was drawn before: so a run that was killed goes on as if nothing had happened, and
several processes draw what one would.
"""
