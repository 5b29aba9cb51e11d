"""The store of communications, below recordings, voicemail and chat.

`keys` and `age` encrypt, `database` holds the rows, `vault` the objects, `people` says who may do what, `audit` writes down what
was done, and `access` joins the two: nothing is read without a row in the audit.
"""
