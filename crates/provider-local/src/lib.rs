//! Machines of a pool as processes on this machine.
