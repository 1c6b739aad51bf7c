"""Laws that every registered component is tested on; a new file is tested the moment it exists."""
