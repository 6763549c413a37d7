//! What a build does on its worker: steps, one after the other, and their logs.
