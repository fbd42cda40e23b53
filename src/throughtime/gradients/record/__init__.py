"""What flowed: every step of every recurrent layer of one backward pass."""
