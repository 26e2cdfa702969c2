// Follows a job's events; without scripts the page reloads instead.
const bar = document.getElementById("bar");
const events = new EventSource(bar.dataset.events);
events.addEventListener("progress", (event) => {
  const job = JSON.parse(event.data);
  document.getElementById("state").textContent = job.state;
  document.getElementById("count").textContent = `${job.progress.done} of ${job.progress.total || "?"}`;
  if (job.progress.total) bar.max = job.progress.total;
  if (job.progress.total) bar.value = job.progress.done;
  if (["succeeded", "failed", "cancelled"].includes(job.state)) {
    events.close();
    location.reload();
  }
});
