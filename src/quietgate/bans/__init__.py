"""Bans: their only writer, the deeds that whoever bans or lifts calls, who is never banned."""
