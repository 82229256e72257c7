"""Thousands of players in one process, as cheap as Python allows.

Run by `bench.crowd` as a process of its own (`python -m bench.crowd_client`): the
configuration comes as JSON on standard input, progress and the result go out as JSON lines.

One loop sweeps all sockets several times a tick and sends the inputs of one cohort of
clients after each sweep, so that neither side sees bursts. Frames are parsed no further
than their header, except for a sample of clients that decode everything with the
reference decoder and so check every byte they get.

Read in this order:

* `run.py`: the course of a run: join, settle, measure; `result.py`: what came of it;
* `crowd.py`: the clients, from connecting to being lost;
* `sockets.py`: the inner loop, reading all sockets and sending all inputs;
* `snapshots.py`: what is noted of each snapshot; `sample.py`: those who decode everything;
* `pilots.py`: how the ships fly, as rows of inputs;
* `dialects.py`, `frames.py`: what is said to which server, and the bytes.
"""
