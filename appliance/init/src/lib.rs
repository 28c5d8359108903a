//! Duties of process 1 and of the process above the appliance.
