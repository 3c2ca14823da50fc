"""Measurements of the product as its users meet it. Nothing here asserts: tests do not time."""
