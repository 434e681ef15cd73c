// The form that adds a task, and what is shown at once while a change is under way.

const list = document.getElementById("list");

document.addEventListener("list:changing", ({ detail: { form, button, data } }) => {
  if (form.id === "add") send(form, data);
  else if (form.matches(".editor") && !button?.hasAttribute("formaction")) form.ariaBusy = "true";
  else if (button?.matches(".check")) button.closest(".row").classList.toggle("done");
  else if (button?.matches(".delete")) button.closest(".row").remove();
});

// On a device with a mouse, typing can begin at once.
if (matchMedia("(hover: hover) and (pointer: fine)").matches && !location.hash) {
  if (document.activeElement === document.body) document.getElementById("id_name").focus();
}

// Many lines become many tasks.
document.addEventListener("paste", (event) => {
  if (event.target.id !== "id_name") return;
  const text = event.clipboardData.getData("text/plain");
  if (text.split(/[\r\n]+/).filter((line) => line.trim()).length < 2) return;
  event.preventDefault();
  const lines = document.getElementById("lines");
  lines.elements.lines.value = text;
  lines.requestSubmit();
});

document.addEventListener("list:refused", (event) => {
  const form = event.target;
  if (form.id === "lines") {
    const text = event.detail.querySelector(".errorlist").textContent.trim();
    const detail = { text: `Nothing was added. ${text}` };
    document.dispatchEvent(new CustomEvent("list:failed", { detail }));
  }
  if (form.id !== "add") return;
  const fresh = event.detail.getElementById("add");
  if (form.elements.name.value.trim()) {
    // The next task is being typed already.
    const text = fresh.querySelector(".errorlist").textContent.trim();
    const detail = { text, typed: fresh.elements.name.value };
    document.dispatchEvent(new CustomEvent("list:failed", { detail }));
    return;
  }
  form.replaceWith(fresh);
  fresh.querySelector("[aria-invalid]").focus();
});

document.addEventListener("input", ({ target }) => {
  if (target.id === "id_name") delete target.form.dataset.sent;
});

/** Empty the form, and show the new task on top. */
function send(form, data) {
  const { name, due } = form.elements;
  if (!name.value.trim()) return;
  form.dataset.sent = "true";
  name.value = due.value = "";
  due.dispatchEvent(new Event("input", { bubbles: true }));
  name.removeAttribute("aria-invalid");
  due.removeAttribute("aria-invalid");
  for (const errors of form.querySelectorAll(".errorlist")) errors.remove();
  name.focus();
  const show = new URL(form.action).searchParams;
  if (show.has("q") || !["all", "open"].includes(show.get("show") ?? "all")) return;
  const row = document.createElement("li");
  row.className = "row pending";
  row.append(Object.assign(document.createElement("span"), { dir: "auto", className: "what" }));
  row.firstChild.textContent = data.get("name").trim();
  list.querySelector(".tasks")?.prepend(row);
}
