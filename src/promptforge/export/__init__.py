"""A published data set in the form that a trainer reads: one module a format.

    VERSION: int              raised whenever the bytes change for any input
    USE: str                  what the trainer is started with, for the card; {folder} is the export
    class Params(Chosen)      which rows, and what else the format leaves open
    write(source, params, output)

The recipe plays no part: an export is a function of dataset/ and Params. See folder/ for what formats share.
"""
