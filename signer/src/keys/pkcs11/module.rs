//! The module and its tokens: each found by its label, opened and logged in to once.

use super::super::KeyError;
use super::super::backend::Slot as KeySlot;
use super::super::files::read_private;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as TokenFault, RvError};
use cryptoki::mechanism::{Mechanism, MechanismInfo};
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use repo_model::config::Pkcs11Config;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A loaded module with the tokens that were opened.
pub(super) struct Module {
    library: Pkcs11,
    settings: Pkcs11Config,
    open: Mutex<BTreeMap<String, Arc<OpenToken>>>,
}

impl Module {
    /// Loads and starts the module.
    pub(super) fn load(settings: &Pkcs11Config) -> Result<Self, KeyError> {
        let fault = |task: &'static str| {
            let name = settings.module.display().to_string();
            move |source| KeyError::Token { task, name, source }
        };
        let library = Pkcs11::new(&settings.module).map_err(fault("load the module"))?;
        match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(TokenFault::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(source) => return Err(fault("start the module")(source)),
        }
        Ok(Self {
            library,
            settings: settings.clone(),
            open: Mutex::default(),
        })
    }

    /// What a key is called in its token.
    pub(super) fn key_name<'a>(&'a self, slot: &'a KeySlot) -> &'a str {
        self.settings
            .names
            .get(&slot.label)
            .map_or(slot.label.as_str(), String::as_str)
    }

    /// The token that a key is in: the configured one, or one of its own that is called like it.
    pub(super) fn token_of(&self, slot: &KeySlot) -> Result<Arc<OpenToken>, KeyError> {
        let name = match &self.settings.token {
            Some(name) => name.as_str(),
            None => self.key_name(slot),
        };
        let mut open = self.open.lock().map_err(|_| KeyError::TokenPoisoned)?;
        if let Some(token) = open.get(name) {
            return Ok(Arc::clone(token));
        }
        let token = Arc::new(self.open(name)?);
        open.insert(name.to_owned(), Arc::clone(&token));
        Ok(token)
    }

    /// Whether every key is a token of its own here.
    pub(super) fn is_one_token_a_key(&self) -> bool {
        self.settings.token.is_none()
    }

    fn open(&self, name: &str) -> Result<OpenToken, KeyError> {
        let fault = |task: &'static str| {
            let name = name.to_owned();
            move |source| KeyError::Token { task, name, source }
        };
        let slots = self.library.get_slots_with_initialized_token();
        for slot in slots.map_err(fault("look for"))? {
            let info = self.library.get_token_info(slot);
            let info = info.map_err(fault("look for"))?;
            if info.label() == name {
                let session = self.library.open_rw_session(slot).map_err(fault("open"))?;
                self.log_in(name, &session, &info)?;
                return Ok(OpenToken {
                    name: name.to_owned(),
                    library: self.library.clone(),
                    slot,
                    session: Mutex::new(session),
                });
            }
        }
        Err(KeyError::NoToken {
            name: name.to_owned(),
        })
    }

    /// With the PIN of the configuration, or by the token's own way: a keypad, or a service between that holds the
    /// secret (siguldry's client proxy).
    fn log_in(&self, name: &str, session: &Session, info: &TokenInfo) -> Result<(), KeyError> {
        let pin = match &self.settings.pin_file {
            Some(file) => {
                let pin = read_private(file)?;
                Some(AuthPin::from(String::from_utf8_lossy(&pin).trim()))
            }
            None if !info.login_required() => return Ok(()),
            None if info.protected_authentication_path() => None,
            None => {
                return Err(KeyError::NoPin {
                    name: name.to_owned(),
                });
            }
        };
        match session.login(UserType::User, pin.as_ref()) {
            Ok(()) | Err(TokenFault::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(source) => Err(KeyError::Token {
                task: "log in to",
                name: name.to_owned(),
                source,
            }),
        }
    }
}

/// A token and the one session that serves all threads, one call at a time: PKCS #11 sessions are not to be
/// shared.
pub(super) struct OpenToken {
    name: String,
    library: Pkcs11,
    slot: Slot,
    session: Mutex<Session>,
}

impl OpenToken {
    /// Its label.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Does something with the session, alone.
    pub(super) fn with<T>(
        &self,
        task: &'static str,
        what: impl FnOnce(&Session) -> Result<T, TokenFault>,
    ) -> Result<T, KeyError> {
        let session = self.session.lock().map_err(|_| KeyError::TokenPoisoned)?;
        what(&session).map_err(|source| KeyError::Token {
            task,
            name: self.name.clone(),
            source,
        })
    }

    /// What the token says about a mechanism; `None`: it has no such one.
    pub(super) fn mechanism(
        &self,
        mechanism: &Mechanism<'_>,
    ) -> Result<Option<MechanismInfo>, KeyError> {
        // Asking for one that is not there is no question that every module answers well.
        let wanted = mechanism.mechanism_type();
        let fault = |source| KeyError::Token {
            task: "ask for the mechanisms of",
            name: self.name.clone(),
            source,
        };
        let listed = self.library.get_mechanism_list(self.slot);
        if !listed.map_err(fault)?.contains(&wanted) {
            return Ok(None);
        }
        let info = self.library.get_mechanism_info(self.slot, wanted);
        info.map(Some).map_err(fault)
    }

    /// The objects of this class with this label.
    pub(super) fn find(
        &self,
        label: &str,
        class: ObjectClass,
    ) -> Result<Vec<ObjectHandle>, KeyError> {
        let wanted = [
            Attribute::Class(class),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        self.with("look for a key in", |session| session.find_objects(&wanted))
    }

    /// The one object of this class with this label.
    pub(super) fn one(&self, label: &str, class: ObjectClass) -> Result<ObjectHandle, KeyError> {
        match self.find(label, class)?.as_slice() {
            [one] => Ok(*one),
            all => Err(KeyError::TokenKeys {
                name: self.name.clone(),
                label: label.to_owned(),
                found: all.len(),
            }),
        }
    }
}
