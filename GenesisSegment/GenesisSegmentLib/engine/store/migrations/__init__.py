"""How the tables of the case store came to be what they are; each file of ``versions`` is one step of Alembic."""
