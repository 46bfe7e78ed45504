"""The panel inside Slicer: widgets render what the controller says and send commands; no decisions."""
