"""The behaviours of PyCPL that the stand-in must share, each pinned by a test that runs on both."""

from __future__ import annotations

import ast
from pathlib import Path

HERE = Path(__file__).parent

# Behaviour -> tests. Those with a fixture `cpl` or `made` run on the stand-in and, where it is, on PyCPL.
BEHAVIOURS = {
    "errors of constructors": ("test_a_missing_text_is_refused", "test_checks_come_in_order",
                               "test_run_is_abstract_and_the_constructor_takes_nothing"),
    "type of a parameter by its default": ("test_type_is_inferred", "test_no_type_for_lists_or_nothing"),
    "assignment by type and value": ("test_assignment", "test_wrong_type_keeps_the_value",
                                     "test_float_into_int_is_truncated_with_a_warning",
                                     "test_presence_follows_any_assignment_and_can_be_set"),
    "aliases are the name": ("test_aliases_default_to_the_name_and_take_only_text",),
    "values are not held to range or choices": ("test_range_and_enum_do_not_validate",),
    "the default of a choice is": ("test_enum_types_and_default",),
    "lists: by name, KeyError, equal by identity": ("test_list", "test_lists_are_equal_by_identity"),
    "a frame's file must exist": ("test_file_must_exist_when_the_frame_is_made",),
    "the keyword frameType": ("test_defaults_and_keywords",),
    "numbers of enumerations": ("test_enumerations", "test_severity_levels"),
    "grammar of sets of frames": ("test_sof_grammar", "test_sof_errors",
                                  "test_a_linked_sof_stands_where_it_leads"),
    "texts of objects": ("test_representations", "test_long_sets_are_shortened",
                         "test_dump_shows_current_and_default"),
    "classes, codes and bases of errors": ("test_error_classes", "test_errors_tell_their_place"),
    "headers of products": ("test_product_keywords", "test_product_of_a_product_continues_its_history",
                            "test_empty_set_is_refused", "test_parameters_are_recorded_in_order"),
    "DATAMD5": ("test_a_set_signs_its_products_only",),
    "lines of messages": ("test_message_format", "test_message_file"),
    "closed sets of attributes": ("test_closed_attributes", "test_attributes_are_these_and_no_others"),
}  # fmt: skip
# The stand-in has no `save_image` and its like; our own recipes leave a set of frames as it is.
OF_OUR_OWN = {
    "saving leaves the set of frames alone": ("run_as_cpl_does", "../recipes/framework/test_run_as_cpl.py")
}


def arguments_of_tests(path: Path) -> dict[str, set[str]]:
    functions = (node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef))
    return {node.name: {argument.arg for argument in node.args.args} for node in functions}


def test_each_behaviour_is_pinned_on_both():
    found: dict[str, list[set[str]]] = {}
    for path in HERE.glob("test_*.py"):
        for name, arguments in arguments_of_tests(path).items():
            found.setdefault(name, []).append(arguments)
    assert len(BEHAVIOURS) + len(OF_OUR_OWN) == 18
    for behaviour, names in BEHAVIOURS.items():
        for name in names:
            assert name in found, f"{behaviour}: no {name}"
            assert all(arguments & {"cpl", "made"} for arguments in found[name]), f"{name} runs on one"
    for name, place in OF_OUR_OWN.values():
        assert f"test_{name}" in arguments_of_tests(HERE / place)
