"use strict";
// Sends the form as JSON, and tells in words what came of it.
const form = document.querySelector("form");
const problem = document.querySelector("[role=alert]");
const button = form.querySelector("button");
// The code need not stay where a glance or a history finds it.
history.replaceState(null, "", location.pathname);

function tell(words, field) {
  problem.textContent = words;
  for (const input of form.elements) {
    input.removeAttribute("aria-invalid");
  }
  const blamed = form.elements.namedItem(field || "");
  if (blamed && blamed.type !== "hidden") {
    blamed.setAttribute("aria-invalid", "true");
    blamed.focus();
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  tell("");
  const filled = [...new FormData(form)].filter(([, value]) => value !== "");
  const said = Object.fromEntries(filled);
  if (said.again !== undefined && said.again !== said.password) {
    tell("The two passwords are not the same.", "again");
    return;
  }
  delete said.again;
  button.disabled = true;
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(said),
    });
    if (answer.ok) {
      document.querySelector("main").replaceChildren(
        document.getElementById("done").content.cloneNode(true),
      );
      document.querySelector("h1").focus();
      return;
    }
    const error = (await answer.json()).error;
    tell(error.message, error.param);
  } catch {
    tell("Jan can't be reached. Try again in a moment.");
  } finally {
    button.disabled = false;
  }
});
