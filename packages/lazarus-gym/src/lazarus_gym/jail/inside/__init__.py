"""The code that runs inside the jail's worker.

It uses the standard library only and imports its own modules relatively, so that any Python of 3.11 or newer runs it
without lazarus-gym installed: the parent puts the folder above on the import path as the package `inside`.
"""
