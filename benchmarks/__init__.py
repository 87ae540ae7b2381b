"""Each claim of the docs as a command. Figures are compared within one run, interleaved, because machines vary."""
