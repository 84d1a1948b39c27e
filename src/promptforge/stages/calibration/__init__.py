"""From labels to bounds: which pictures a person is asked about, what answers say of a gate, which bound to take."""
