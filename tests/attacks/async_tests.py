# The program ends in a word that belongs to the tests, which follow.
async \