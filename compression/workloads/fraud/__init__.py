"""The fraud workload: card transactions, simulated or one's own, and what a model sees of them.

The design of the simulated data follows the description of the Fraud Detection Handbook's
simulator (Le Borgne et al., https://fraud-detection-handbook.github.io); the code is our own.
"""
