"""A published data set in the form that a trainer reads: one module a format.

    VERSION: int              raised whenever the bytes change for any input
    USE: str                  what the trainer is started with, for the card; {folder} is the export
    class Params(Chosen)      which rows, and what else the format leaves open
    PICTURES: bool            whether it holds pictures: rows without one that may be used are left out
    write(source, rows, params, output)

A format that cannot hold every row has also

    LEFT_OUT: str             why rows are left out
    fitting(source, rows, params)   the rows that it can hold, with columns for what it found for them

The recipe plays no part: an export is a function of dataset/ and Params, for two formats also of what the run that
made it stored. See folder/ for what formats share. A format ai-toolkit is the module ai_toolkit.
"""
