"""The same work as others would write it, each a program of its own, in the way that its library's pages show.

They run in an environment of their own: `make bench` makes it.
"""
