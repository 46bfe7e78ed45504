"""What the claims of the literature come to on the project's own CTs: small trainings that everybody can repeat."""
