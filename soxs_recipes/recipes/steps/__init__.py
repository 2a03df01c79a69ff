"""Steps that several recipes share, and the longer steps of one."""
