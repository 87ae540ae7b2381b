"""Each claim of the README as a command. Figures are compared within one run, interleaved, because machines vary."""
