// A folder without sources yet still needs an object for its library.
