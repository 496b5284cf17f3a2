"""From the policy to the kernel and back: up, trial, rehearsal, boot, repair, diff."""
