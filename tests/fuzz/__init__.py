"""Bad input by the thousand: what a reader of files and strings does with it; run by ``make fuzz``."""
