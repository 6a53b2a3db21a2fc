"""The panels: thin Qt widgets over the desk; no science."""
