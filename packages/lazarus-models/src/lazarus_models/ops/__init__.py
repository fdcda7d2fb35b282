"""Operations with more than one implementation, chosen by device."""
