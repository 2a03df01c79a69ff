"""What the tests need of Reflex's module `reflex`, written from its documented calls; anything else fails."""


class RecipeParameter:
    def __init__(self, recipe="", displayName="", name="", group="", description="", value=""):
        for text in (recipe, displayName, name, group, description, value):
            assert isinstance(text, str)
        self.recipe, self.displayName, self.name = recipe, displayName, name
        self.group, self.description, self.value = group, description, value


class FitsFile:
    __slots__ = ("category", "checksum", "name", "purposes")

    def __init__(self, name, category, checksum=None, purposes=None):
        self.name, self.category, self.checksum, self.purposes = name, category, checksum, purposes or []
