"""Pure decisions: no session, no clock."""
