"""Steps of building tasks that come again and again."""

from edps import ReportInput, task

from .soxs_task_functions import is_nir, is_uvvis

# More frames than any template takes.
ALL_THERE_ARE = 1000


def raw_task(name, recipe, raw):
    """A task on raw frames, with its reports."""
    return (
        task(name)
        .with_recipe(recipe)
        .with_report("soxs_rawdisp", ReportInput.RECIPE_INPUTS)
        .with_report("soxs_products", ReportInput.RECIPE_OUTPUTS)
        .with_main_input(raw)
    )


def product_task(name, recipe, upstream):
    """A task on products of another, with its report."""
    return (
        task(name)
        .with_recipe(recipe)
        .with_report("soxs_products", ReportInput.RECIPE_OUTPUTS)
        .with_main_input(upstream)
    )


def associate(building, source, products_uvvis, products_nir, match_rules=None, min_ret=0):
    """Products of a task for the arm of the main input, of a task or of alternatives; recipes can do without."""
    return building.with_associated_input(
        source, products_uvvis, condition=is_uvvis, min_ret=min_ret, match_rules=match_rules
    ).with_associated_input(source, products_nir, condition=is_nir, min_ret=min_ret, match_rules=match_rules)


def associate_tables(task_building, *tables):
    """Static tables; the recipes have their own."""
    for table in tables:
        task_building = task_building.with_associated_input(table, min_ret=0)
    return task_building
