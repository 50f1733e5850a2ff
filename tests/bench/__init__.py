"""The ratios that this project promises, measured: `make bench`.

Times differ from machine to machine and from hour to hour; what our code costs beside the least
that could do the same work, or beside other work of ours, does not. So both works of a pair are
measured in one run, in turns, and their ratio counts. Linux only, because of the clock that reads
another process's CPU time.

`requests` measures a function that serves, `reads` the storage port of Firestore, `starts` a
process from its birth to its first answer. What counts operations instead of time (that a limit,
say, adds none to a request) is exact and stands with the tests, in test_costs.py.
"""
