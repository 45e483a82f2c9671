"""What a sweep says, as data: no words for people are made here."""
