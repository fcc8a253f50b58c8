"""The gateway's own HTTP/1.1 port: no proxy and no wrapper between a client and the application.

listener.py     the socket, who is connected, draining
connection.py   one client: requests in, answers out, one after the other
incoming.py     a connection's bytes become whole requests
answers.py      an answer becomes bytes
resting.py      refused clients are not read for a while
limits.py       how much of everything
"""
