//! Records of version 1 as they lie in stores out there: they must be read for ever.
