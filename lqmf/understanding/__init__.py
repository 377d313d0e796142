"""A sentence becomes an intent and its values, offline, by rules that a reader can follow.

A line passes `wording` (plain English keywords, with marks for whatever has a name), `slots` and `running` (the
values), `courtesy`, `intents`, `rules` and `fitting` (what is asked), `sentence` (one line by itself) and `dialogue`
(what it means after the lines before it: `changes`, `requests`, `references`). `answers` tells whether a line answers a
question, `mood` whether it orders, asks or refuses, `unused` what of it is not used. Nothing is executed.
"""
