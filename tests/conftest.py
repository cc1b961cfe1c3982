"""Puts this folder on the path: tests import `forge` from here."""
