"""Nearest neighbours, margin scores, mining, and how well a space is aligned. Arrays in, arrays out; no model, no file.

Tasks, mining and search share it. `Vectors` are (N, D): dense float arrays or `scipy.sparse` rows (n-gram counts).
"""
