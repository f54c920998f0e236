"""What every tensor of a network is called, everywhere: architectures, naming dialects, identification.

Pure: standard library only, no input or output beyond the package's own data files.
"""
