"""The edge: each file speaks to one thing of this machine. No decisions are made here."""
