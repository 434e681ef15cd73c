// Undo: the last change first, then the one before it, also when its message has gone.

const MOST = 50; // changes that can be undone
const list = document.getElementById("list");
const messages = document.getElementById("messages");

let forms = []; // that undo a change each, the last change last

document.addEventListener("list:changed", ({ detail }) => remember(detail));
document.addEventListener("list:undo", undo);
document.addEventListener("submit", ({ target, submitter }) => {
  if (submitter?.value === "undo") forms = forms.filter((form) => form !== target);
});
document.addEventListener("list:failed", ({ detail }) => {
  if (detail.lost && detail.form?.querySelector("[value=undo]")) forms.push(detail.form);
});
remember(document);

/** Remember how a change is undone; also one whose answer is not shown, as more are on the way. */
function remember(page) {
  const form = page.querySelector("#messages form:has([value=undo])");
  if (form) forms = [...forms, form].slice(-MOST);
}

/** Undo the last change, also one that is under way. */
function undo() {
  if (list.ariaBusy) return document.addEventListener("list:shown", undo, { once: true });
  const form = forms.at(-1);
  if (!form) return;
  if (!messages.contains(form)) {
    form.hidden = true;
    messages.append(form);
  }
  form.requestSubmit(form.querySelector(".undo"));
}
