"""One room of the package at a time, bad inputs first."""
