"""Which engine paints a job soonest here: estimated from what engines were measured to cost, or tried by `tune`."""
