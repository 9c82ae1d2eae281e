"""Dialogues about a scene: queries in many wordings, and answers whose numbers are fact slots.

Everything comes from the scene's evidence and from random draws; labels are not an argument.
Wordings are data (``wording/``), combined by a grammar. About one in five of each list is held
out: a ``train`` dialogue never uses it, half of the ``val`` dialogues do. One in four dialogues
has a second or third turn, one in five is not in English.
"""
