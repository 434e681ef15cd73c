"""What users type: task names, and the names and passwords of accounts."""

import unicodedata
from typing import Any

from django import forms
from django.contrib.auth.forms import UserCreationForm
from django.core.exceptions import ValidationError

from tasks.models import Task

UNSEEN = {"Cc", "Cf", "Zl", "Zp", "Zs"}
"""Unicode categories of characters that leave no mark: controls, formats, separators."""


def validate_visible(text: str) -> None:
    """Refuse text that would look like no text at all."""
    if all(unicodedata.category(character) in UNSEEN for character in text):
        raise ValidationError("Give the task a name that can be seen.", code="invisible")


class TaskForm(forms.Form):
    """The name of a task: any Unicode, without the space around it; and when it is due."""

    name = forms.CharField(
        label="Task",
        max_length=Task._meta.get_field("name").max_length,
        validators=[validate_visible],
        error_messages={
            "required": "Give the task a name.",
            "max_length": "A name has at most %(limit_value)d characters; "
            "this one has %(show_value)d.",
            "null_characters_not_allowed": "A name cannot contain the NUL character.",
        },
        widget=forms.TextInput(
            attrs={
                "dir": "auto",
                "autocomplete": "off",
                "enterkeyhint": "done",
                "placeholder": "Add a task…",
            }
        ),
    )
    due = forms.DateField(
        label="Due",
        required=False,
        input_formats=["%Y-%m-%d"],
        error_messages={"invalid": "Write the date as year-month-day, such as 2030-12-31."},
        # Inputs of this type want this form in every language. Without a latest date, browsers
        # take years of six digits.
        widget=forms.DateInput({"type": "date", "max": "9999-12-31"}, "%Y-%m-%d"),
    )

    # An empty name gets this form's own message. Browsers refuse a date that they cannot read:
    # they would send it as no date, which would erase the former one.
    use_required_attribute = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        # Browsers count otherwise than we do (an emoji is two) and cut pasted text off silently.
        del self.fields["name"].widget.attrs["maxlength"]


class SignUpForm(UserCreationForm):  # type: ignore[type-arg]
    """A new account: a name and a password, twice."""
