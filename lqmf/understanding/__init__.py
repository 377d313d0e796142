"""A sentence becomes an intent and its values, offline, by rules that a reader can follow.

A line passes `wording` (plain English keywords, with marks for names), `slots` and `running` (the values), `courtesy`,
`intents`, `rules` and `fitting` (the intent), `sentence` (one line by itself) and `dialogue` (the meaning after the
lines before it: `changes`, `requests`, `references`). `answers` tells whether a line answers a question, `mood` whether
it orders, asks or refuses, `unused` which parts of it are not used. Nothing is executed.
"""
