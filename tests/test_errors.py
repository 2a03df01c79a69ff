from soxs_recipes import errors


def test_exit_codes_are_distinct_and_clear_of_esorex_and_click():
    classes = [getattr(errors, name) for name in errors.__all__]
    codes = [cls.exit_code for cls in classes]
    assert len(codes) == 6
    assert len(set(codes)) == len(codes)
    assert not set(codes) & {0, 2, 5, 9, 13, 14, 255}


def test_algorithm_error_carries_its_numbers():
    error = errors.AlgorithmError("too few lines", found=3, needed=10)
    assert error.numbers == {"found": 3, "needed": 10}
    assert str(error) == "too few lines (found = 3, needed = 10)"
