"""The search spaces that come with the program, as package data."""
