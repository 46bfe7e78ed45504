"""The click network: corrects a segment where prompts say that it is wrong; its training, its file, its figures."""
