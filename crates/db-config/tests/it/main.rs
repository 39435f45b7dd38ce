//! What loading a configuration means, as a service sees it; no server is needed.

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod bound_values;
#[cfg(test)]
mod dotenv;
#[cfg(test)]
mod environment;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod own_tables;
#[cfg(test)]
mod secrecy;
#[cfg(test)]
mod shipped;
#[cfg(test)]
mod site;
#[cfg(test)]
mod sizes;
#[cfg(test)]
mod urls;
